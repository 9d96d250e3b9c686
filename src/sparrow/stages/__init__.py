"""What each rule of the workflow runs: one file a stage, each with one function from files to files."""
