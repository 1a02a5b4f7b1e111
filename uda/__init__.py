"""Unsupervised domain adaptation for semantic segmentation: translate, segment, and go round again."""

__version__ = "0.1.0"
