"""What the original's module Transfer offers to configuration files and to policies of a site's own.

It joins the adapters of both directions under one name.
"""

from guerillabackup.original.receiving import (
    ReceiverStoreDataTransferPolicy as ReceiverStoreDataTransferPolicy,
)
from guerillabackup.original.receiving import ReceiverTransferPolicy as ReceiverTransferPolicy
from guerillabackup.original.sending import SenderMoveDataTransferPolicy as SenderMoveDataTransferPolicy
from guerillabackup.original.sending import SenderTransferPolicy as SenderTransferPolicy
from guerillabackup.original.transfer_context import TransferContext as TransferContext
