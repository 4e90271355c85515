/*
 * The link's wait from the last packet, not from its loss: the part of leases.pml for -DACKNOWLEDGED
 * and, where A changes from one rule to the other by its heartbeats, -DMIXED.
 *
 * A look of A at its kernel counts once it is proven: a packet that A sent after it is known to have
 * reached B's TCP. A may run by it for D + Q. B counts from the last moment at which its TCP received
 * anything of A. Packets and acknowledgements go each their own way, and each way dies alone.
 *
 * Of A's looks one is on its way to being proven, and A may leave it for a newer one at any time.
 * Nothing is asked of A's kernel: it may show a dead link as Connected for as long as it likes.
 */

/* A's last look that is not proven */
byte pending;           /* by A's clock: since it was asked for */
byte flight;            /* how far a packet is that was sent after it */
#define NONE     0
#define SENT     1
#define RECEIVED 2      /* by B's TCP; the acknowledgement is under way: it takes as long as it likes, or never comes */

/* B's end of the connection */
byte socket;
#define OPEN     0
#define CLOSED   1      /* by DRBD: it acknowledges nothing any more, and is still listed */
#define VANISHED 2
#define COUNTED  3      /* B has looked at it since */

#ifdef MIXED
bit  a_new;             /* A lives by what is acknowledged */
bit  says_new;          /* the renewal that is under way says so */
bit  lease_new;         /* the Lease does */
byte late;              /* a renewal that A has given up: 1 without it, 2 with it */
bit  by_notice;         /* B counts from when it noticed, as always */
#endif
#ifdef ALSO_FRESH
byte shown;             /* by A's clock: since the last look that showed the link connected */
#endif
#ifdef WEAK_VANISHED_AS_OF_ITS_LAST_RECEIPT
bit  unseen;            /* something was received since B looked at the socket */
#endif
#ifdef WEAK_OPEN_AS_OF_ITS_LAST_RECEIPT
bit  noted;             /* B has looked at the open socket, and counts from what it saw */
#endif
#ifdef WEAK_SOCKET_NOT_COMPARED
bit  earlier;           /* of an earlier connection more was acknowledged than was sent over this one */
#endif
#ifdef AGAIN_BEFORE_PROMOTION
bit  by_word;           /* B took over by A's own word, and waits for nothing */
#endif

inline no_look() { pending = 0; flight = NONE }

inline looks() {
#ifdef MIXED
    if :: !a_new -> looked = LEAST(looked, LOOK_COUNTS - Q) :: else fi;
#endif
#ifdef ALSO_FRESH
    shown = 0;
#endif
#ifdef MANY_LOOKS
    skip
#else
    pending = 0;
#ifdef WEAK_PROVEN_BY_ANY_PACKET
    if :: flight == NONE -> flight = SENT :: else fi
#else
#ifdef WEAK_SOCKET_NOT_COMPARED
    flight = (earlier -> RECEIVED : SENT)
#else
    flight = SENT
#endif
#endif
#endif
}

/* ---- B's count ---- */
#ifdef OLD_TAKER
#define LONG_GONE (gone >= LINK_WAIT)
#define COUNTS (a_owns && !b_linked)
#define FROM_NOTICE true
#else
#ifdef MIXED
#define FROM_NOTICE by_notice
#ifdef WEAK_FROM_THE_PACKET_WHATEVER_THE_LEASE_SAYS
#define LONG_GONE (gone >= LINK_WAIT && (by_notice || socket == COUNTED))
#else
#define LONG_GONE (gone >= LINK_WAIT && (by_notice || (lease_new && socket == COUNTED)))
#endif
#define COUNTS a_owns
#else
#define FROM_NOTICE false
#ifdef WEAK_OPEN_AS_OF_ITS_LAST_RECEIPT
#define LONG_GONE (gone >= LINK_WAIT && (socket == COUNTED || noted))
#else
#define LONG_GONE (gone >= LINK_WAIT && socket == COUNTED)
#endif
#ifdef AGAIN_BEFORE_PROMOTION
#define COUNTS (!b_runs)
#else
#define COUNTS a_owns
#endif
#endif
#endif

inline b_counts() {
#ifdef OLD_TAKER
    gone = 0;
#endif
#ifdef CLOSES_AT_ONCE
    socket = CLOSED
#else
    skip
#endif
}

inline b_received() {
#ifdef PAUSE
#ifndef AGAIN_BEFORE_PROMOTION
    if :: lapsed -> awake = 0 :: else fi;
#endif
#endif
#ifdef WEAK_VANISHED_AS_OF_ITS_LAST_RECEIPT
    unseen = 1
#else
#ifdef WEAK_OPEN_AS_OF_ITS_LAST_RECEIPT
    if :: !noted -> gone = 0 :: else fi
#else
    if :: !FROM_NOTICE -> gone = 0 :: else fi
#endif
#endif
}

inline connects() {
    socket = OPEN;
#ifdef MIXED
    by_notice = 0;
#endif
#ifdef WEAK_OPEN_AS_OF_ITS_LAST_RECEIPT
    noted = 0;
#endif
#ifdef WEAK_VANISHED_AS_OF_ITS_LAST_RECEIPT
    unseen = 0;
#endif
#ifdef WEAK_SOCKET_NOT_COMPARED
    earlier = 1;
#endif
#ifdef WEAK_LATER_BYTES_PROVE
    if :: flight -> flight = SENT :: else fi
#else
    no_look()
#endif
}

/* ---- sockets ---- */
#ifdef MIXED
#define LIVES_BY_PROOF a_new
#else
#define LIVES_BY_PROOF true
#endif

inline sockets() {
    if
#ifdef MANY_LOOKS
    /* No look is younger than what proves it: so this is the youngest of all that any packet proves. */
    :: d_step { a_runs && socket == OPEN -> step("B's TCP receives what A sent after a look");
        pending = 0; flight = RECEIVED; b_received() }
#endif
    :: d_step { flight == SENT && socket == OPEN -> step("B's TCP receives what A sent after its look");
        flight = RECEIVED; b_received() }
    :: d_step { flight == RECEIVED && !STANDS && a_runs && LIVES_BY_PROOF -> step("A hears that it is acknowledged");
#ifdef WEAK_COUNTED_FROM_THE_ACKNOWLEDGEMENT
        looked = 0;
#else
        looked = LEAST(pending, looked);
#endif
#ifdef MANY_LOOKS
        skip
#else
        no_look()
#endif
        }
    :: d_step { socket == OPEN && !b_linked -> step("B's kernel closes the socket"); socket = CLOSED }
    :: d_step { socket == CLOSED -> step("the socket vanishes"); socket = VANISHED }
#ifndef OLD_TAKER
    :: d_step { socket == CLOSED -> step("B looks at the closed socket"); socket = COUNTED;
#ifdef WEAK_VANISHED_AS_OF_ITS_LAST_RECEIPT
        if :: unseen -> gone = 0; unseen = 0 :: else fi
#endif
        }
    :: d_step { socket == VANISHED -> step("B looks, and the socket is gone"); socket = COUNTED;
#ifndef WEAK_VANISHED_AS_OF_ITS_LAST_RECEIPT
        if :: !FROM_NOTICE -> gone = 0 :: else fi
#endif
        }
#ifdef WEAK_VANISHED_AS_OF_ITS_LAST_RECEIPT
    :: d_step { socket == OPEN && unseen -> step("B looks at the open socket"); unseen = 0; gone = 0 }
#endif
#ifdef WEAK_OPEN_AS_OF_ITS_LAST_RECEIPT
    :: d_step { socket == OPEN && !noted && !b_linked -> step("B looks at the open socket"); noted = 1 }
#endif
#endif
#ifdef HALF_CONNECTED
    :: d_step { !a_linked && !b_linked && socket != OPEN && !b_runs && !STANDS ->
        step("A is connected, B not yet"); a_linked = 1; dead = 0; connects() }
    :: d_step { socket == OPEN && !b_linked && a_linked && !b_runs && !STANDS ->
        step("B is, too"); b_linked = 1;
        if :: a_alone -> a_alone = 0; b_checked = 0 :: else fi }
#endif
#ifdef MIXED
    :: d_step { b_linked -> step("B notices, and counts from now"); b_linked = 0; by_notice = 1;
        gone = 0; dead = 0; lived_on_it(); b_counts() }
#endif
    fi
}

/* ---- heartbeats that say by which rule A lives ---- */
#ifdef MIXED
inline says() {
#ifdef WEAK_RELIED_ON_BEFORE_IT_IS_CONFIRMED
    says_new = 1
#else
    says_new = a_new
#endif
}

inline living() {
    if
#ifndef WEAK_RELIED_ON_BEFORE_IT_IS_CONFIRMED
    :: d_step { !STANDS && PRESENT && !a_new -> step("A lives by what is acknowledged from now on");
        a_new = 1; looked = LINK_LIMIT }
#endif
    :: d_step { !STANDS && (PRESENT || a_claimed) && !asking && a_new && !LAPSED ->
        step("A sends a renewal without it"); asking = 1; arrived = 0; asked = 0; says_new = 0;
#ifdef WEAK_BACK_BEFORE_IT_IS_CONFIRMED
        a_new = 0
#endif
        }
    fi
}

inline is_told() {
#ifdef WEAK_RELIED_ON_BEFORE_IT_IS_CONFIRMED
    if :: says_new && !a_new -> a_new = 1; looked = LINK_LIMIT :: else fi;
#endif
    if :: !says_new && a_new -> a_new = 0 :: else fi;
    says_new = 0
}

inline given_up() {
    if :: asking && !arrived -> late = 1 + says_new :: else fi;
    says_new = 0
}

inline lands() {
    lease_new = says_new;
#ifndef WEAK_A_LATE_RENEWAL_LANDS
    late = 0
#endif
}

inline lands_late() {
    if
    :: d_step { late -> step("a renewal that A has given up lands"); lease_new = late - 1; late = 0;
#ifndef WEAK_A_LATE_RENEWAL_LANDS
        if :: asking && !arrived -> asking = 0; asked = 0; says_new = 0 :: else fi;
#endif
        if :: a_owns -> newer = 1; proof_old = assigned :: else fi }
    fi
}
#endif
