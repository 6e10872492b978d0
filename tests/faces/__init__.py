"""Tests on both faces: the blocking client, and the asyncio client under the blocking one's API.

`plugin` has pytest run a test once on each, `modules` says which tests, `wrapper` is the blocking
API over an asyncio client, whose loop runs in the thread of `loop_thread`.
"""
