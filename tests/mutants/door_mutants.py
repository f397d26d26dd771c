"""Faults of what keeps strangers out: TLS, where a process listens, browsers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_RULES = "http_base/browsers.py"
_BROWSERS = "tests/http_base/test_browsers.py"

DOOR_MUTANTS = (
    Mutant(
        name="certificate-not-checked",
        fault="Whoever answers at an https address is taken for the server",
        path="myqueue/contract/tls.py",
        old="    context.minimum_version = ssl.TLSVersion.TLSv1_2\n",
        new="    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n",
        test="tests/myqueue/contract/test_tls.py"
        "::test_a_server_that_cannot_prove_itself_is_not_asked",
    ),
    Mutant(
        name="peer-without-certificate",
        fault="A stranger gets to the handshake of the Raft port without a certificate",
        path="http_base/tls.py",
        old="((peers, ssl.CERT_REQUIRED), (serving, ssl.CERT_OPTIONAL))",
        new="((peers, ssl.CERT_OPTIONAL), (serving, ssl.CERT_OPTIONAL))",
        test="tests/http_base/test_tls.py"
        "::test_asked_certificates_are_needed_by_peers_and_checked_on_http",
    ),
    Mutant(
        name="cluster-call-without-certificate",
        fault="Who knows the cluster's token calls in its name without a certificate",
        path="http_base/certificates.py",
        old="        if not scope.get(CERTIFICATE) and self._is_of_cluster(scope):\n",
        new="        if scope.get(CERTIFICATE) and self._is_of_cluster(scope):\n",
        test="tests/http_base/test_certificates.py"
        "::test_the_token_of_the_cluster_alone_needs_a_certificate",
    ),
    Mutant(
        name="open-without-secret",
        fault="A process lets other machines connect with a secret that nobody chose",
        path="queuesite/conf.py",
        old='        "QUEUE_CLUSTER_SECRET": has_secret,\n',
        new="",
        test="tests/queuesite/test_conf.py::test_listening_beyond_loopback_needs_protection",
    ),
    Mutant(
        name="foreign-host-served",
        fault="A page whose name leads here by a lie of its name server reads answers",
        path=_RULES,
        old="(_is_local(domain) or validate_host(domain, self._hosts))",
        new="(_is_local(domain) or validate_host(domain, [domain]))",
        test=f"{_BROWSERS}::test_names_that_lead_here_but_are_not_ours_are_refused",
    ),
    Mutant(
        name="foreign-page-writes",
        fault="A form on a foreign page writes with somebody's browser",
        path=_RULES,
        old='            is_foreign = not self._is_own(origin, headers.get(b"host", b""))\n',
        new="            is_foreign = False\n",
        test=f"{_BROWSERS}::test_a_foreign_page_writes_nothing",
    ),
    Mutant(
        name="foreign-image-pops",
        fault="An image on a foreign page pops a message",
        path=_RULES,
        old="        if method in READING and path not in self._calls:\n",
        new="        if method in READING:\n",
        test=f"{_BROWSERS}::test_an_image_on_a_foreign_page_pops_no_message",
    ),
    Mutant(
        name="client-says-its-address",
        fault="What a client itself says of its address counts, before what the proxy adds",
        path="http_base/forwarded.py",
        old='value.rpartition(b",")[2].strip()',
        new='value.partition(b",")[0].strip()',
        test="tests/http_base/test_forwarded.py::test_what_the_proxy_added_last_is_taken",
    ),
    Mutant(
        name="many-places-guess-one-name",
        fault="A password can be guessed from many addresses, each with tries of its own",
        path="queuesite/login.py",
        old="place if place in PLACES else",
        new="place if place not in PLACES else",
        test="tests/queuesite/test_login.py"
        "::test_one_name_from_many_addresses_and_many_names_from_one_wait",
    ),
    Mutant(
        name="guesses-never-wait",
        fault="A password can be guessed as fast as the machine hashes",
        path="http_base/throttle.py",
        old="            if wait_s > 0:\n",
        new="            if wait_s > DELAY_MAX_S:\n",
        test="tests/queuesite/test_login.py"
        "::test_wrong_passwords_have_to_wait_and_so_does_the_right_one",
    ),
    Mutant(
        name="handshakes-without-limit",
        fault="Who connects and never shakes hands takes the descriptors of everybody",
        path="queuesite/serving.py",
        old="            if len(self._shaking) > HANDSHAKES_MAX:\n",
        new="            if len(self._shaking) > BACKLOG:\n",
        test="tests/queuesite/test_serving.py::test_those_who_never_shake_hands_keep_nobody_out",
    ),
    Mutant(
        name="heads-of-any-framing-known",
        fault="A head is remembered whatever it says of how its request is framed",
        path="http_base/known_heads.py",
        old="            not _UNUSUAL.isdisjoint(names)\n",
        new="            False\n",
        test="tests/http_base/test_known_heads.py"
        "::test_what_is_framed_in_another_way_is_not_learnt",
    ),
    Mutant(
        name="plain-requests-out-of-turn",
        fault="A request whose head is known is answered before the one that came before it",
        path="queuesite/serving.py",
        old="        return is_answered and not self.flow.write_paused\n",
        new="        return not self.flow.write_paused\n",
        test="tests/queuesite/test_plain_cycle.py"
        "::test_a_request_that_follows_before_the_answer_waits_for_its_turn",
    ),
    Mutant(
        name="plain-requests-without-weighing",
        fault="A request of a foreign page is answered as if a program had sent it",
        path="http_base/hotpaths.py",
        old="            or not _WEIGHED.isdisjoint(known)\n",
        new="",
        test="tests/queuesite/test_plain_cycle.py::test_what_has_to_be_weighed_goes_the_usual_way",
    ),
)
