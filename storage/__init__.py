"""The store: the engine seam and LMDB behind it, key layout, stored records, the writer, verify and backup.

Nothing here knows HTTP or a rule of the sale. Above it stand the transitions that decide; below it only ``config``.
"""
