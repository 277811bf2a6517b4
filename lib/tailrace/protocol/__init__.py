"""The meaning of an OpenAI-compatible answer: the one reader of client, service and load generator.

    reader = AnswerReader(is_event_stream(content_type), api="chat", encoding="gzip")
    reader.feed(data, time.perf_counter_ns())     # the bytes of the body as they come, cut anywhere
    answer = reader.end(whole=True)               # whole: the transport says that the body came to its end

`answer` holds the failure's class ("" for none), the usage, and the times of the tokens. See `protocol.answer`.
"""
