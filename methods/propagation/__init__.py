"""Propagation methods: DeepLIFT, layer-wise relevance propagation, contextual decomposition, and their machinery."""
