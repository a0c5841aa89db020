"""From a download to a reconciled, published file. Needs the extra ``landing``."""
