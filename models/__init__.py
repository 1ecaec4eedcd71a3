"""Networks that read stellar spectra: torch modules, a registry of names, the contract with the engine.

Imports torch and nothing else of this product. A network is one file in `spectral_prediction/` with

    from models import register_model

    @register_model("MyNet")
    class MyNet(nn.Module):
        def __init__(self, points: int, labels: int, dropout: float = 0.1) -> None: ...
        def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor: ...
"""

from __future__ import annotations

from models.registry import register_model

__all__ = ["register_model"]
