"""Records a training from hooks, without a forward of its own in a step and without a change of its result."""
