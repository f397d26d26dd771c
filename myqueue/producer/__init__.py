"""Producers: messages into the partitions of topics, each exactly once.

Start with `aio.AsyncProducer`; `producer.Producer` is written from it by `make fronts`. `core`
decides, without a thread or a loop: what goes where, and what becomes of a batch. It keeps what is
not settled in an `accumulator` of `lanes`, one per partition, whose `sequences` make repetitions
harmless. `sender` (a thread) and `aio_sender` (tasks) carry it out; `exits` is the end of a program
that closed nothing. Imported by users, the command line and `testing`.
"""
