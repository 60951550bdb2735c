"""Folders by Hadoop's FileSystem, which is there wherever Spark is: hdfs:// needs no library of Python."""

import json

from research.data import manifest as manifests
from research.errors import UserError
from research.prepare.request import shown


class Folder:
    """A folder at a URI, as the driver sees it."""

    def __init__(self, spark, uri):
        self.uri, self.jvm = uri.rstrip("/"), spark._jvm
        self.conf = spark._jsc.hadoopConfiguration()
        self.fs = self.path().getFileSystem(self.conf)

    def path(self, *names):
        """Hadoop's Path of what lies below."""
        return self.jvm.org.apache.hadoop.fs.Path("/".join([self.uri, *names]))

    def names(self, *below):
        """Sorted names of what lies in the folder; none where it is not there."""
        path = self.path(*below)
        return sorted(s.getPath().getName() for s in self.fs.listStatus(path)) if self.fs.exists(path) else []

    def delete(self, *names):
        self.fs.delete(self.path(*names), True)

    def move(self, other, old, new):
        """Renames a file of `other`, a folder of the same filesystem, to `new` below this one, in the place of any."""
        target = self.path(*new)
        self.fs.mkdirs(target.getParent())
        options = self.jvm.java.lang.Class.forName("org.apache.hadoop.fs.Options$Rename").getEnumConstants()
        context = self.jvm.org.apache.hadoop.fs.FileContext.getFileContext(self.fs.getUri(), self.conf)
        array = self.jvm.java.lang.reflect.Array.newInstance(options[0].getClass(), 1)
        array[0] = next(option for option in options if str(option) == "OVERWRITE")
        context.rename(other.path(*old), target, array)

    def write(self, name, text):
        """Writes a file whole: under a temporary name, renamed."""
        stream = self.fs.create(self.path(f".{name}.new"), True)
        stream.write(bytearray(text.encode()))
        stream.close()
        self.move(self, [f".{name}.new"], [name])

    def manifest(self):
        """The manifest, checked, or None where there is none. Raises UserError for a damaged one."""
        where = shown(f"{self.uri}/{manifests.NAME}")
        try:
            found = self.read_json(manifests.NAME)
        except ValueError as error:
            raise UserError(f"{where} is damaged ({error}); delete the folder and prepare it anew.") from None
        return None if found is None else manifests.check(found, where)

    def read_json(self, *names):
        """What a file of JSON holds, None where there is no such file. Raises ValueError for another text."""
        path = self.path(*names)
        if not self.fs.exists(path):
            return None
        stream = self.fs.open(path)
        try:
            return json.loads(self.jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_manifest(self, manifest):
        """Writes manifest.json, whole, as the last of a folder's files."""
        checked = manifests.check(manifest, shown(self.uri))
        self.write(manifests.NAME, json.dumps(checked, indent=1, sort_keys=True, allow_nan=False) + "\n")
