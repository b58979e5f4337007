"""What changed between two folders, commits or subjects, and whether it means something."""
