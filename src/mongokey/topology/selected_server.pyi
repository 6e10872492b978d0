from mongokey.pool.pool import Pool

class SelectedServer:
    pool: Pool | None
