"""Recurrent layers beyond torch's own: minGRU, sLSTM, mLSTM, CfC, LRU, Mamba and GRU-D, from their equations."""
