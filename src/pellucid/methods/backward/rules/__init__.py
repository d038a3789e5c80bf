"""Rules of layer-wise relevance propagation, as surrogates: values kept, derivatives changed.

The derivative c that reaches a value x in an ordinary backward pass stands for the relevance
R = x · c, so that what is linear and has no rule of its own is right as it is.
"""
