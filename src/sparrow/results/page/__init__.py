"""The page of a study: one file each for what it says, from the study's tables to a part of `templates/page.jinja`."""
