"""What a resume point may leave out."""


class Unchanging:
    """Base of objects that stay as they are made: a job that goes on makes them again instead of reading them back."""
