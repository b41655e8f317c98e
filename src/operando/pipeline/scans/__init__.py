"""What recipes over CT scans begin with: the scans open, checked, reconstructed and in one frame."""
