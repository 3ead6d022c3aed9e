"""What a report is made of: the truth, the numbers, the figures, the galleries, the words and the page."""
