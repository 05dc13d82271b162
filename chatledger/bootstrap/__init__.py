"""The composition root: settings in, a running application out. The only package that knows every adapter."""

from chatledger.bootstrap.blobs import blobs_to_read as blobs_to_read
from chatledger.bootstrap.blobs import object_storage as object_storage
from chatledger.bootstrap.copying_keys import KeyPlace as KeyPlace
from chatledger.bootstrap.copying_keys import copy_keys_to as copy_keys_to
from chatledger.bootstrap.notary import extending_of as extending_of
from chatledger.bootstrap.notary import log_origin as log_origin
from chatledger.bootstrap.providers import make_generators as make_generators
from chatledger.bootstrap.replaying import Replaying as Replaying
from chatledger.bootstrap.replaying import open_for_replay as open_for_replay
from chatledger.bootstrap.running import Running as Running
from chatledger.bootstrap.running import open_chatledger as open_chatledger
from chatledger.bootstrap.stores import ForImport as ForImport
from chatledger.bootstrap.stores import NoStoreError as NoStoreError
from chatledger.bootstrap.stores import Reading as Reading
from chatledger.bootstrap.stores import begin_incarnation as begin_incarnation
from chatledger.bootstrap.stores import migrate as migrate
from chatledger.bootstrap.stores import open_for_import as open_for_import
from chatledger.bootstrap.stores import open_for_reading as open_for_reading
from chatledger.bootstrap.stores import open_for_repair as open_for_repair
