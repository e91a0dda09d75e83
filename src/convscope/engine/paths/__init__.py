"""What path methods are made of: paths, baselines, references, blur."""
