"""Backward rules as data, applied to each operation while the network's own forward pass runs.

Guided backpropagation, DeepLIFT and layer-wise relevance propagation (LRP) replace the derivative of *operations* in
the backward pass: of a ReLU, a convolution, a product. `function_mode.RuleMode` intercepts every operation of the
forward pass, functional, reused or in place, and a `BackwardMethod` looks up in its table how to treat that kind of
operation. No module of the network is rewritten.

The backward pass always propagates a **multiplier** G in place of the gradient; the relevance of an input is x ⊙ G.
Sums, concatenations, reshaping and average pooling then need no rule of their own: their plain gradient *is* the
proportional rule R_i = x_i / Σx · R. This holds at residual sums too, where tools that propagate R itself double it.

    autograd_functions.py    autograd functions from which rules are built
    function_mode.py         the function mode: intercepts each operation, hands it to the method, reports missing rules
    rule_log.py              which rule treated which operation, what biases absorbed, what each layer received
    affine_operations.py     convolutions and linear maps with other weights, and their transposes
    composed_activations.py  activations written as several operations, recognized as one
    decomposed_operations.py softmax, norms, attention and power pools as compositions of simpler operations
    recurrent.py             LSTM, GRU and plain recurrent layers and cells, unrolled over time steps
    lrp_rules.py             the LRP rules of affine operations
    composites.py            which rule applies where: named composites, and rules by layer, kind and depth
    lrp.py                   LRP as a method: the rule of each kind of operation
    lrp_affine_backward.py   the backward pass of an affine operation under an LRP rule
    modified_gradients.py    the tables of guided backpropagation, deconvnet, rectified gradient and FullGrad
    deep_lift.py             DeepLIFT as a method: differences from a reference
    deep_lift_multipliers.py the multipliers of the Rescale and the RevealCancel rule
    deep_lift_run.py         DeepLIFT over a batch of images and their references
    backward_pass.py         a backward pass under a method over a batch of images
"""
