"""Loss, loop and engine; Ray Train wraps the loop, the loop needs torch alone."""
