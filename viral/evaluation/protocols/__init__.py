"""The papers' tables as commands: cases, methods that answer them, columns that score the answers, a report."""
