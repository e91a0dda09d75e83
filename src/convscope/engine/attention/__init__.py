"""Attention read where it happens: from the operations of the network's own forward, whatever modules it has.

operations.py        one operation that mixes values by attention weights, fused or written out
softmax_tracking.py  which matrix product uses the result of which softmax
function_mode.py     the function mode that hands every such operation to a reader
sites.py             the places of a network where it attends, found by one recorded forward pass
token_grid.py        which position of the input each query and each key has
memory.py            what fits into memory, before anything is computed
reading.py           attention weights, and the gradient of a score with respect to them
answering_token.py   the token from which the network reads its answer
layer_scores.py      the score that each layer has by itself, and its gradient with respect to the layer's weights
value_vectors.py     norms of what each token adds to another, after the projection that follows
token_flow.py        matrices of tokens against the first tokens, carried from one site to the next
"""
