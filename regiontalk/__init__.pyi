from regiontalk.captioner import RegionCaptioner as RegionCaptioner
from regiontalk.drawing.draw import draw as draw
from regiontalk.images.open import ImageError as ImageError
from regiontalk.images.open import open_image as open_image
from regiontalk.model.region_model import RegionModel as RegionModel
from regiontalk.records import Example as Example
from regiontalk.records import ImageResult as ImageResult
from regiontalk.records import PhraseMatch as PhraseMatch
from regiontalk.records import RegionCaption as RegionCaption
from regiontalk.records import Regions as Regions
from regiontalk.records import RegionSnippet as RegionSnippet

__version__: str
__all__: list[str]
