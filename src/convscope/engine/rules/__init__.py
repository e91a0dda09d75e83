"""Backward rules as data, applied per operation while the user's own forward runs.

Guided backprop, DeepLIFT and relevance propagation replace what happens at *operations* on the way back: a ReLU, a
convolution, a product. `mode.Rules` sees every operation of the forward, functional, reused or in place, and looks up
in the table of a `Method` what is to be done with its kind. Nothing of the network is rewritten.

What flows back is always a **multiplier** G in the place of the gradient; an input's relevance is x ⊙ G. Sums,
concatenations, reshaping and average pooling then need no rule of their own: their plain gradient *is* the proportional
rule R_i = x_i / Σx · R, also at residual sums where tools that propagate R itself double it.

    operations.py  which operation is of which kind
    call.py        one operation with its arguments
    mode.py        the function mode: looks at each operation, hands it to the method, names what has no rule
    ledger.py      what was treated how, what biases absorbed, what each layer received
    affine.py      convolutions and linear maps with other weights, and backwards
    elementwise.py activations that are written as several operations, seen as one
    decompose.py   softmax, norms, attention and pools of powers as simpler operations
    recurrent.py   LSTM, GRU and plain recurrent layers and cells, step by step
    relevance.py   the rules of layer-wise relevance propagation for affine operations
    composites.py  which rule where: named composites, and rules by layer, kind and depth
    methods.py     the tables of guided backprop, deconvnet, rectified gradient, LRP, FullGrad
    deep_lift.py   the table of DeepLIFT: differences from a reference
    flow.py        one run over a batch of images
"""
