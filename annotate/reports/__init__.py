"""The parts of a report: true classes, numbers, figures, galleries, text and page."""
