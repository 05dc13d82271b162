"""The queries on the read models, a module for each noun. Sealed columns are opened in the reading thread."""

from chatledger.adapters.persistence.views.apps import SqlAppViews
from chatledger.adapters.persistence.views.branches import SqlBranchViews
from chatledger.adapters.persistence.views.conversations import SqlConversationViews
from chatledger.adapters.persistence.views.feedback import SqlFeedbackViews
from chatledger.adapters.persistence.views.files import SqlFileViews
from chatledger.adapters.persistence.views.followed import SqlFollowedViews
from chatledger.adapters.persistence.views.messages import SqlMessageViews
from chatledger.adapters.persistence.views.people import SqlPeopleViews
from chatledger.adapters.persistence.views.tasks import SqlTaskViews


class SqlViews(
    SqlAppViews,
    SqlPeopleViews,
    SqlConversationViews,
    SqlMessageViews,
    SqlFollowedViews,
    SqlBranchViews,
    SqlTaskViews,
    SqlFileViews,
    SqlFeedbackViews,
):
    """The read models on SQL. Every list is one index range: a page costs the same in a store of any size."""
