"""Triton kernels, one file per operation. Importing a kernel file imports triton; importing this package does not."""
