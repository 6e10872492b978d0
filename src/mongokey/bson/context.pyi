from typing import Any

from mongokey.bson.codec_options import CodecOptions

class CodecContext:
    options: CodecOptions[Any]
    def __init__(self, options: CodecOptions[Any]) -> None: ...
