"""stub"""
import re
from pathlib import Path
class Site:
    def __init__(self,p): self.p=Path(p)
    def add_network(self,*a): pass
    def has(self,*a): return False
    def add_layer(self,net,layer,digest,style):
        from dreamjax.atlas.sprites import write_sheets, write_preview
        p=layer.pictures
        self.p.mkdir(parents=True,exist_ok=True)
        print(write_sheets(self.p, file_stem(layer.record["tap"]), p.reshape(-1,*p.shape[2:]), style))
    def write_index(self): pass
    def write_all(self): return {"page":self.p/"index.html"}
def open_site(p): return Site(p)
def file_stem(name): return re.sub(r"[^A-Za-z0-9._-]", "-", name.replace("/", "--")).strip(".")
