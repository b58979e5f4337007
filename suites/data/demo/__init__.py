"""Demo data: drawn scenes with exact, fine-structured masks, written in the layouts of the real data sets."""
