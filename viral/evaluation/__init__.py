"""Scores against free answers, and the page that shows them."""
