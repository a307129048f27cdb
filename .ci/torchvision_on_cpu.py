"""Lets a torchvision that was built for CUDA be imported beside a torch for the CPU, in every process that wants to."""

import sys
from importlib.abc import MetaPathFinder


class _Declaring(MetaPathFinder):
    """Declares the operators that torchvision registers fake versions of, when it is about to be imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules["torch"]._torchvision_on_cpu = self  # the declarations live as long as this does
        return None


sys.meta_path.insert(0, _Declaring())
