"""What client and server share: words, routes, messages and the shape of a job directory. Standard library only."""

#: The version of the wire protocol that this node speaks, told to Galaxy in set-up and status documents. Galaxy refuses jobs
#: below 0.7 and switches features on by this number (specification 13.5), so it is not the package's own version.
WIRE_VERSION = "0.15.16"
