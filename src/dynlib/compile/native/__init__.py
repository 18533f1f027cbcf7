"""The back-end: generated functions as LLVM IR, optimised, kept as object code, called without any other compiler."""
