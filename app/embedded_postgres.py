class EmbeddedPostgresError(Exception): pass
class EmbeddedPostgres:
    pass
