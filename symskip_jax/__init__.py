"""Image networks pre-trained without labels by denoising, with symmetric skip connections.

After Dong, Mao, Shen and Yang, "Learning Deep Representations Using Convolutional Auto-encoders
with Symmetric Skip Connections". Sections named in docstrings are those of the paper.
"""

__version__ = "0.1.0"
