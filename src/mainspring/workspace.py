"""The composition root: opens the store and the artifacts of one workspace and hands the rooms their collaborators.

A workspace is a folder (`MAINSPRING_HOME`); everything that Mainspring remembers is in it or at the addresses that
the settings name. Nothing here decides anything.

    store.sqlite   facts          artifacts/   bytes by hash        bundles/    bundles laid out for serving
    endpoints/     route files    journals/    prediction log, live  segments/  prediction log, sealed
    indexes/       files as they were last seen                 features/    features, to be read online
"""

import getpass
import os
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mainspring import config
from mainspring.domain.ids import Digest
from mainspring.domain.moments import Clock, clock_of
from mainspring.errors import Conflict, MainspringError, NotFound, Refused

if TYPE_CHECKING:
    from mainspring.artifacts.protocol import ArtifactStore
    from mainspring.bundle.predictor import Predictor
    from mainspring.data.profile import Profile
    from mainspring.domain.signature import Signature
    from mainspring.domain.version import ModelVersion
    from mainspring.features.online import OnlineStore
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.outcome import Progress
    from mainspring.predictions.log import PredictionLog
    from mainspring.registry.control import Mover
    from mainspring.store.protocol import Store

__all__ = ["Workspace"]


class Workspace:
    """One workspace, opened. Use as a context manager, or call `close`.

    `clock` dates everything that is written (a demo lives through a year in minutes); `actor` is who acts.

    >>> import tempfile
    >>> with Workspace(Path(tempfile.mkdtemp())) as workspace:
    ...     workspace.store.read("SELECT count(*) FROM runs")
    [(0,)]
    """

    def __init__(self, home: Path | None = None, *, clock: Clock | None = None, actor: str = "") -> None:
        self.home = config.home() if home is None else home.absolute()
        self.clock: Clock = clock or clock_of(config.value_of("clock"))
        self.actor = actor or config.value_of("actor") or _login()
        #: Is told of the steps of runs; set by whoever shows them.
        self.progress: Progress | None = None
        self._predictors: dict[Digest, Predictor] = {}

    @cached_property
    def store(self) -> "Store":
        """The metadata database; its tables are made or brought up to date at the first use."""
        from mainspring.store.opening import open_store

        address = config.value_of("store") or f"sqlite:///{self.home / 'store.sqlite'}"
        return open_store(address, actor=self.actor, clock=self.clock)

    @cached_property
    def artifacts(self) -> "ArtifactStore":
        """The content-addressed bytes; encrypted where the setting `encryption` names keys."""
        from mainspring.artifacts.opening import keys_named, open_artifacts

        address = config.value_of("artifacts") or str(self.home / "artifacts")
        return open_artifacts(address, self.home / "artifact-cache", keys_named())

    @cached_property
    def log(self) -> "PredictionLog":
        """The sealed prediction log."""
        from mainspring.predictions.log import PredictionLog

        return PredictionLog(self.store, self.segments)

    @cached_property
    def online(self) -> "OnlineStore":
        """The online store of features."""
        from mainspring.features.opening import open_online

        return open_online(self.features)

    @property
    def features(self) -> str:
        """Where the online store of features lies: an address or a folder."""
        return config.value_of("features") or str(self.home / "features")

    @property
    def bundles(self) -> Path:
        """Where bundles are laid out for serving; in memory where the artifacts are encrypted.

        Raises:
            NotFound, Refused: a key that is named is not there, or is not the one of the artifacts.
        """
        if not self._is_encrypted():
            return self.home / "bundles"
        from mainspring.artifacts.copies import shared_place
        from mainspring.artifacts.digests import digest_of_bytes

        return shared_place(f"bundles-{digest_of_bytes(bytes(self.home))[:16]}")

    @property
    def endpoints(self) -> Path:
        """Where the route files lie that prediction servers follow."""
        return self.home / "endpoints"

    @property
    def journals(self) -> Path:
        """Where prediction servers write what they answered."""
        return self.home / "journals"

    @property
    def indexes(self) -> Path:
        """Where it is remembered what was seen of files that were added or checked out; a cache."""
        return self.home / "indexes"

    @property
    def segments(self) -> Path:
        """Where the sealed prediction log lies."""
        return self.home / "segments"

    @property
    def pipeline_context(self) -> "PipelineContext":
        """What a pipeline needs to run here."""
        from mainspring.pipeline.context import PipelineContext
        from mainspring.pipeline.executor import executor_named

        context = partial(
            PipelineContext, store=self.store, artifacts=self.artifacts, clock=self.clock, progress=self.progress
        )
        named = config.value_of("executor")
        return context(executor=executor_named(named)) if named else context()

    @property
    def mover(self) -> "Mover":
        """Who moves aliases here: the actor, with the roles that a user of that name holds."""
        from mainspring.access.users import roles_held
        from mainspring.registry.control import Mover

        return Mover(self.actor, roles_held(self.store, self.actor))

    def _is_encrypted(self) -> bool:
        """Whether keys are named, which are then found to be those of the artifacts."""
        from mainspring.artifacts.opening import keys_of

        return bool(config.value_of("encryption") and keys_of(self.artifacts))

    def bundle_folder(self, digest: Digest) -> Path:
        """Return a folder that holds the bundle, laid out from the artifacts at the first call."""
        folder = self.bundles / digest[:24]
        if not folder.exists():
            if self._is_encrypted():
                from mainspring.artifacts.copies import make_private

                make_private(folder.parent)
            else:
                folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.artifacts.checkout_tree(digest, folder)
            except (Conflict, OSError):
                if not folder.exists():  # else another process was laying it out too, and was first
                    raise
        return folder

    def served_bundle(self, version: "ModelVersion") -> Path:
        """Return the verified bundle of a version that is to be served; one whose files were altered is laid out anew.

        Raises:
            Refused: the version has no files here, or they are of a kind that is not served.
        """
        import shutil  # brings archives and their compression, which quick commands do without

        from mainspring.bundle.format import verify

        folder = self._servable(version)
        try:
            verify(folder)
        except MainspringError:
            for each in {folder, self.bundle_folder(version.kept_bundle)}:
                shutil.rmtree(each)
            folder = self._servable(version)
        return folder

    def _servable(self, version: "ModelVersion") -> Path:
        """Return the bundle's folder; what MLflow's clients logged is made one at the first call."""
        folder = self.bundle_folder(version.kept_bundle)
        if (folder / "bundle.json").is_file():
            return folder
        if not (folder / "MLmodel").is_file():
            raise Refused(
                f"{version.reference} was registered from `{version.source}`, which is not a bundle of Mainspring",
                next_step=f"mlflow.pyfunc.load_model('models:/{version.reference}'), or submit it as a candidate",
            )
        made = folder.with_name(f"{folder.name}-served")
        if not made.exists():
            from mainspring.bundle.mlflow_folder import translate

            try:
                translate(folder, made, name=version.model)
            except Conflict:  # another process was making it too, and was first
                if not made.exists():
                    raise
            except Refused as error:
                what = f"{version.reference} cannot be served. {error.what}"
                raise Refused(what, where=error.where, next_step=error.next_step) from error
        return made

    def predictor(self, version: "ModelVersion") -> "Predictor":
        """Return the loaded model of a version; it stays loaded while the workspace is open."""
        from mainspring.bundle.predictor import load_bundle

        bundle = version.kept_bundle
        if bundle not in self._predictors:
            self._predictors[bundle] = load_bundle(self.served_bundle(version))
        return self._predictors[bundle]

    def signature_of(self, model: str, version: int) -> "Signature":
        """Return what a version of a model eats."""
        from mainspring.bundle.format import read_manifest
        from mainspring.registry.versions import find_version

        found = find_version(self.store, f"{model}/{version}")
        return read_manifest(self._servable(found)).signature

    def profile_of(self, model: str, version: int) -> "Profile | None":
        """Return the profile of what a version was trained on; None where it has none, or is not registered here."""
        from mainspring.data.profile import read_profile
        from mainspring.registry.versions import find_version

        try:
            return read_profile(self._servable(find_version(self.store, f"{model}/{version}")))
        except NotFound:
            return None

    def seal(self) -> int:
        """Bring what prediction servers have written so far into the sealed log; return how many rows that was.

        Raises:
            NotFound, Refused: a key is missing, or is not the one of the artifacts or the log; nothing was sealed.
            Unavailable: the artifacts lie in a bucket that does not answer, so that nobody knows; nothing was sealed.
        """
        from mainspring.artifacts.opening import keys_of
        from mainspring.predictions.segments import seal

        keys_of(self.artifacts)  # they tell a missing or a wrong key, under which nothing may be written
        return seal(
            self.store,
            self.journals,
            self.segments,
            self.signature_of,
            at=self.clock.now(),
            profile_of=self.profile_of,
        )

    def publish(self, model: str) -> None:
        """Tell prediction servers which versions answer for `model` now."""
        from mainspring.deploy.rollout import publish_routes
        from mainspring.registry.versions import find_version

        publish_routes(
            self.store,
            self.endpoints,
            model,
            lambda number: self._servable(find_version(self.store, f"{model}/{number}")),
        )

    def republish(self) -> list[MainspringError]:
        """Publish every model that has a route file, and lay out its bundles where they are gone; return what failed.

        In memory they are gone when the machine was started anew.
        """
        failed = []
        for path in sorted(self.endpoints.glob("[!.]*.json")):
            try:
                self.publish(path.stem)
            except MainspringError as error:
                failed.append(error)
        return failed

    def close(self) -> None:
        """Let go of the databases."""
        if "store" in self.__dict__:
            self.store.close()
        if "online" in self.__dict__:
            self.online.close()

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return f"uid-{os.getuid()}"
