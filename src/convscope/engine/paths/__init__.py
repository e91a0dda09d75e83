"""Components of path methods: paths, baselines, references and blur."""
