"""What a trained net is: where its decisions come from."""

from robustlabels.analysis.saliency import activation_gradient, grad_cam

__all__ = ["activation_gradient", "grad_cam"]
