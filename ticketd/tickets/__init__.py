"""What a buyer holds in the end: the barcode, the signed code, its QR picture, and the printed page.

All of it is pure: no clock, no randomness, no store; keys and ids come in as arguments. Only the two font
files beside the code are read.
"""
