"""What a saved model is worth on a split of data: metrics, references, probes, stability.

A run, a checkpoint of it or the dictionary of another library is only read here. One file each for
what is measured; nothing here trains an auto-encoder.
"""
