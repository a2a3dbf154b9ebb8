"""Shares: what of each limit one of several machines' engines may use. Pure; ``limits_store/`` asks the store.

Each engine is a *member*. The store keeps, for each limit and member, how much the member holds. Three rules hold:

1. What a member holds, it alone lowers, by saying so; it is raised by the store alone, by what nobody holds. So what
   all hold together is never more than the limit, whatever is lost or late on the way.
2. Who is to have how much, each member finds by itself (``division.py``), from what the store said of all of them.
3. Time goes to and from the store as seconds from then on. Each end counts from when it has read it, which is later
   than when it was meant: clocks need not agree, and a due time moves to the later side only.

A count is shared in units. A rate is shared in *parts* (``parts.py``): slow ones have one, which goes from member to
member with the time at which its next unit is due. In any stretch of time, all but the last unit of each member that
holds a part of the rate are paid for within it: at most rate x time + the number of those members (of bytes: their last
messages). So a rate of one part holds as it does for one engine.

What is not held to: a member that is cut off from the store, while others are not, goes on with what it has, and after
``LEASE`` the others have it, too.
"""
