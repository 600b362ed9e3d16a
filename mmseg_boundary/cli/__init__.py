"""What the tools share on the command line. Importing it changes nothing outside the package."""
