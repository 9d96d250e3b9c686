"""What the stages in results/ read: types built by `sparrow.study`, in one file for what shares its code. Imports no torch."""
