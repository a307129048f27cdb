"""DuoGen: interleaved text-and-picture generation."""
__version__ = "0.1.0"
def __getattr__(name):
    if name=="PatchCodec":
        from duogen.models.vae import PatchCodec
        return PatchCodec
    raise AttributeError(name)
