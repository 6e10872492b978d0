"""CodecOptions compiled for the codec: each option a typed field, looked up once per options.

The context hangs on the options object itself, so that it lives as long and costs one
attribute look-up. It knows options, not how anything is encoded.
"""
from mongokey.bson.codec_options import (
    DEFAULT_CODEC_OPTIONS,
    CodecOptions,
    _raw_document_class,
)


cdef class CodecContext:
    def __cinit__(self, options):
        registry = options.type_registry
        self.options = options
        self.document_class = options.document_class
        self.plain_dict = self.document_class is dict
        self.raw = _raw_document_class(self.document_class)
        self.tz_aware = options.tz_aware
        self.tzinfo = options.tzinfo
        self.conversion = -1 if options.datetime_conversion is None else options.datetime_conversion
        self.error_handler = NULL
        if options.unicode_decode_error_handler != "strict":
            self.error_handler_bytes = options.unicode_decode_error_handler.encode()
            self.error_handler = self.error_handler_bytes
        self.decoders = registry._decoder_map or None
        self.encoders = registry._encoder_map or None
        self.fallback = registry._fallback_encoder
        self.uuid_representation = options.uuid_representation


cdef CodecContext _default = CodecContext(DEFAULT_CODEC_OPTIONS)


cdef CodecContext context_of(object options):
    cdef CodecContext context
    if options is None or options is DEFAULT_CODEC_OPTIONS:
        return _default
    if not isinstance(options, CodecOptions):
        raise TypeError("codec_options must be an instance of CodecOptions")
    attributes = options.__dict__
    found = attributes.get("_context")
    if found is not None:
        return found
    context = CodecContext(options)
    attributes["_context"] = context
    return context
