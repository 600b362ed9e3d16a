"""What several test files and the scripts that they start need."""
